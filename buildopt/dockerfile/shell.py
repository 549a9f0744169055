"""RUN bodies and scripts, parsed into commands with spans (tree-sitter-bash).

``parse_shell`` never raises. What it did not fully understand is marked ``complete = False``: rules may still look at
it, rewriters refuse it. The text is the logical one: a RUN body without its continuations, or a heredoc's script.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from buildopt.dockerfile.shell_commands import Command, Part, Script, of_the_command
from buildopt.dockerfile.shell_words import Assignment, Redirect, Word, unquote
from buildopt.source import Span

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

__all__ = ["Command", "Part", "Redirect", "Script", "Word", "of_the_command", "parse_shell", "unquote"]

# Hundreds of these in a row are nothing that a person wrote, and take the grammar's recovery quadratic time.
_NONSENSE = re.compile(r"(?:[)}|<>][ \t\n]*){300}")
_MOST_UNOPENED = 1000


@lru_cache(maxsize=1024)
def parse_shell(text: str) -> Script:
    """Parse a POSIX shell or bash text."""
    if "\0" in text or _NONSENSE.search(text) or text.count(")") > text.count("(") + _MOST_UNOPENED:
        return Script(text, (), (), complete=False)
    data = text.encode("utf-8", "surrogatepass")
    reader = _Reader(text, None if len(data) == len(text) else _offsets(text))
    try:
        root = _parser().parse(data).root_node
        reader.block(root.children, ())
        complete = reader.complete and not root.has_error
    except RecursionError:  # thousands of nested constructs: nothing that a person wrote
        complete = False
    # A heredoc's substitutions are met before its command: the order of the text is what counts. Stable, because all
    # commands of an escaped `sh -c` share one span.
    commands = sorted(reader.commands, key=lambda command: command.span.start)
    parts = tuple(replace(part, commands=_inside(commands, part.span)) for part in reader.parts)
    return Script(text, tuple(commands), parts, tuple(reader.comments), complete)


def _inside(commands: list[Command], span: Span) -> tuple[Command, ...]:
    first = bisect_left(commands, span.start, key=lambda command: command.span.start)
    last = bisect_left(commands, span.end, lo=first, key=lambda command: command.span.start)
    return tuple(commands[first:last])


@lru_cache(maxsize=1)
def _parser() -> Parser:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


def _offsets(text: str) -> list[int]:
    """Byte offset → character offset, for text that is not all ASCII."""
    table: list[int] = []
    for index, char in enumerate(text):
        code = ord(char)
        table += [index] * (1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4)
    table.append(len(text))
    return table


_SEPARATORS = frozenset((";", ";;", ";&", ";;&", "&", "\n"))
_COMPOUND = {
    "subshell": "subshell",
    "compound_statement": "group",
    "if_statement": "if",
    "elif_clause": "if",
    "else_clause": "if",
    "while_statement": "loop",
    "for_statement": "loop",
    "c_style_for_statement": "loop",
    "do_group": "",
    "case_statement": "case",
    "case_item": "",
    "function_definition": "function",
}
_SIMPLE = frozenset(
    ("command", "declaration_command", "unset_command", "test_command", "variable_assignment", "variable_assignments")
)
_STATEMENTS = _SIMPLE | frozenset(_COMPOUND) | {"list", "pipeline", "redirected_statement", "negated_command", "ERROR"}
_SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh", "ksh"))


@dataclass
class _Reader:
    """Walks one tree and collects commands in the order of the text."""

    text: str
    offsets: list[int] | None
    base: int = 0  # where `text` starts in the outermost text
    commands: list[Command] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    comments: list[Span] = field(default_factory=list)
    complete: bool = True

    def span(self, node: Node) -> Span:
        start, end = node.start_byte, node.end_byte
        if self.offsets is not None:
            start, end = self.offsets[start], self.offsets[end]
        return Span(start + self.base, end + self.base)

    def raw(self, span: Span) -> str:
        return self.text[span.start - self.base : span.end - self.base]

    def block(self, nodes: Sequence[Node], context: tuple[str, ...]) -> None:
        """Sibling nodes: statements with separators between them, and tokens that are of no interest."""
        for index, node in enumerate(nodes):
            if node.type == "comment":
                self.comments.append(self.span(node))
            elif node.type in _STATEMENTS:
                operator, operator_span = self.separator(nodes, index + 1)
                self.statement(node, context, operator, operator_span)
            elif node.is_named:
                self.substitutions(node, context)

    def separator(self, nodes: Sequence[Node], index: int) -> tuple[str, Span | None]:
        following = nodes[index] if index < len(nodes) else None
        if following is not None and following.type in _SEPARATORS:
            return following.type, self.span(following)
        more = any(node.type in _STATEMENTS for node in nodes[index:])
        return ("\n" if more else ""), None

    def statement(
        self,
        node: Node,
        context: tuple[str, ...],
        operator: str,
        operator_span: Span | None,
        redirects: tuple[Redirect, ...] = (),
        negated: bool = False,
    ) -> None:
        kind = node.type
        if kind in ("list", "pipeline"):
            self.chain(node, context, operator, operator_span, redirects, negated)
        elif kind == "redirected_statement":
            self.redirected(node, context, operator, operator_span, redirects, negated)
        elif kind == "negated_command":
            self.statement(node.children[-1], context, operator, operator_span, redirects, True)
        else:
            first = len(self.commands)
            if kind in _SIMPLE:
                self.simple(node, context, operator, operator_span, redirects, negated)
            else:
                self.compound(node, context)
            if not context:
                span = self.span(node)
                span = _around(span, redirects)
                command = self.commands[first] if kind in _SIMPLE else None
                self.parts.append(Part(span, command, (), operator))

    def chain(
        self,
        node: Node,
        context: tuple[str, ...],
        operator: str,
        operator_span: Span | None,
        redirects: tuple[Redirect, ...],
        negated: bool,
    ) -> None:
        """``a && b | c``: lists lean to the left, so the left edge is walked without recursion."""
        pending: list[tuple[Node, str, Span | None]] = []
        links: list[Node] = [node]
        while links[-1].type in ("list", "pipeline") and links[-1].children[0].type == links[-1].type:
            links.append(links[-1].children[0])
        for depth, link in enumerate(reversed(links)):
            for child in link.children if depth == 0 else link.children[1:]:
                if child.type == "comment":
                    self.comments.append(self.span(child))
                elif child.is_named:
                    pending.append((child, "", None))
                elif pending:
                    pending[-1] = (pending[-1][0], child.type, self.span(child))
        for index, (child, joined, span) in enumerate(pending):
            last = index == len(pending) - 1
            self.statement(
                child,
                context,
                operator if last else joined,
                operator_span if last else span,
                redirects if last else (),
                negated and index == 0,
            )

    def redirected(
        self,
        node: Node,
        context: tuple[str, ...],
        operator: str,
        operator_span: Span | None,
        outer: tuple[Redirect, ...],
        negated: bool,
    ) -> None:
        redirects: list[Redirect] = []
        trailing: list[Node] = []  # `cat <<EOF && more`: tree-sitter puts what follows into the heredoc's node
        body: Node | None = None
        for child in node.children:
            if child.type.endswith("_redirect"):
                redirects += self.redirects(child, trailing, context)
            elif child.is_named and child.type != "comment":
                body = child
        if body is None:
            first = redirects[0].span.start if redirects else self.span(node).start
            span = Span(first, self.span(node).end)
            command = Command((), (), (*redirects, *outer), span, operator, operator_span, context, negated)
            self.commands.append(command)
            if not context:
                self.parts.append(Part(span, command, (), operator))
            return
        if not trailing:
            self.statement(body, context, operator, operator_span, (*redirects, *outer), negated)
            return
        joint = trailing[0]
        named = [child for child in trailing if child.is_named]
        if joint.child_count:  # a `pipeline` node that starts with its bar
            named = [child for child in joint.children if child.is_named]
            joint = joint.children[0]
        # The body's redirects end behind what follows on its line: only the order of the commands is reliable here.
        self.complete = False
        self.statement(body, context, joint.type, self.span(joint), tuple(redirects), negated)
        for index, child in enumerate(named):
            last = index == len(named) - 1
            self.statement(child, context, operator if last else "&&", operator_span if last else None)

    def redirects(self, node: Node, trailing: list[Node], context: tuple[str, ...]) -> Iterator[Redirect]:
        operator, descriptor, target = "", "", None
        span = self.span(node)
        inner: list[Node] = []
        for child in node.children:
            if child.type == "file_descriptor":
                descriptor = self.raw(self.span(child))
            elif child.type.endswith("_redirect"):
                inner.append(child)
            elif child.type == "heredoc_body":
                self.substitutions(child, (*context, "heredoc"))
            elif child.type == "heredoc_end":
                pass
            elif not operator and not child.is_named:
                operator = child.type
            elif target is None and child.is_named:
                target = self.word(child, context)
                self.substitutions(child, context)
                if child.type != "heredoc_start":
                    span = Span(span.start, max(target.span.end, span.start))
            else:
                trailing.append(child)
        yield Redirect(operator, descriptor, target, span)
        for child in inner:
            yield from self.redirects(child, trailing, context)

    def compound(self, node: Node, context: tuple[str, ...]) -> None:
        kind = _COMPOUND.get(node.type, "unknown")
        inside = (*context, kind) if kind else context
        conditions = [child for index, child in enumerate(node.children) if _is_condition(node, index)]
        if conditions:
            self.block(conditions, (*inside, "condition"))
            self.block(node.children[node.children.index(conditions[-1]) + 1 :], inside)
        else:
            self.block(node.children, inside)

    def word(self, node: Node, context: tuple[str, ...]) -> Word:
        span = self.span(node)
        raw = self.raw(span)
        if node.type in ("process_substitution", "arithmetic_expansion"):
            return Word(None, raw, span)
        text, glob = unquote(raw)
        return Word(text, raw, span, glob)

    def simple(
        self,
        node: Node,
        context: tuple[str, ...],
        operator: str,
        operator_span: Span | None,
        redirects: tuple[Redirect, ...],
        negated: bool,
    ) -> None:
        words: list[Word] = []
        assignments: list[Assignment] = []
        found: list[Redirect] = []
        nested: list[Node] = []
        children = [node] if node.type == "variable_assignment" else node.children
        if node.type == "test_command":
            children = list(_leaves(node))
        for child in children:
            if child.type == "variable_assignment" and node.type != "declaration_command":
                assignments.append(self.assignment(child, context))
            elif child.type.endswith("_redirect"):
                found += self.redirects(child, [], context)
                continue
            elif child.type == "comment":
                self.comments.append(self.span(child))
                continue
            elif child.end_byte > child.start_byte:
                words.append(self.word(child, context))
            nested.append(child)
        everything = tuple(sorted((*found, *redirects), key=lambda item: item.span))
        span = _around(self.span(node), redirects)
        command = Command(tuple(words), tuple(assignments), everything, span, operator, operator_span, context, negated)
        self.commands.append(command)
        for child in nested:
            self.substitutions(child, context)
        self.inner_shell(command, context)

    def assignment(self, node: Node, context: tuple[str, ...]) -> Assignment:
        span = self.span(node)
        name, _, value = self.raw(span).partition("=")
        text, glob = unquote(value)
        word = Word(text, value, Span(span.end - len(value), span.end), glob)
        return Assignment(name.removesuffix("+"), word, span, append=name.endswith("+"))

    def substitutions(self, node: Node, context: tuple[str, ...]) -> None:
        """The commands of ``$(…)``, backquotes and ``<(…)`` anywhere below ``node``."""
        if node.child_count == 0:
            return
        if node.type in ("command_substitution", "process_substitution"):
            self.block(node.children, (*context, "substitution"))
            return
        for child in node.children:
            self.substitutions(child, context)

    def inner_shell(self, command: Command, context: tuple[str, ...]) -> None:
        """``sh -c "…"``: the script's commands, with spans in the outer text where it is written plainly."""
        script = _script_word(command)
        if script is None or len(context) > 16:
            return
        raw = script.raw
        if len(raw) < 2 or raw[0] not in "'\"" or raw[-1] != raw[0] or raw[0] in raw[1:-1] or "\\" in raw:
            self.complete = self.complete and script.text is not None
            if script.text is None or not script.text.strip():
                return
            # Quoting moved its characters: its commands are right, their spans are those of the whole word.
            inner = parse_shell(script.text)
            self.complete = self.complete and inner.complete
            self.commands += (_moved(item, script.span, (*context, "sh -c")) for item in inner.commands)
            return
        inner_text = raw[1:-1]
        data = inner_text.encode("utf-8", "surrogatepass")
        reader = _Reader(
            inner_text, None if len(data) == len(inner_text) else _offsets(inner_text), script.span.start + 1
        )
        root = _parser().parse(data).root_node
        reader.block(root.children, (*context, "sh -c"))
        self.commands += reader.commands
        self.complete = self.complete and reader.complete and not root.has_error


def _around(span: Span, redirects: Sequence[Redirect]) -> Span:
    """``span`` widened to hold the redirects."""
    return Span(
        min(span.start, *(item.span.start for item in redirects), span.start),
        max(span.end, *(item.span.end for item in redirects), span.end),
    )


def _moved(command: Command, span: Span, context: tuple[str, ...]) -> Command:
    words = tuple(Word(word.text, word.raw, span, word.glob) for word in command.words)
    assignments = tuple(
        Assignment(item.name, Word(item.value.text, item.value.raw, span, item.value.glob), span, item.append)
        for item in command.assignments
    )
    redirects = tuple(
        Redirect(
            item.operator,
            item.descriptor,
            Word(item.target.text, item.target.raw, span, item.target.glob) if item.target else None,
            span,
        )
        for item in command.redirects
    )
    return Command(
        words, assignments, redirects, span, command.operator, None, (*context, *command.context), command.negated
    )


def _script_word(command: Command) -> Word | None:
    """The script of ``sh -c SCRIPT``, ``bash -euxo pipefail -c SCRIPT``, ``su -c SCRIPT user``."""
    name = command.name
    if name == "su":
        for index, word in enumerate(command.arguments[:-1]):
            if word.text in ("-c", "--command"):
                return command.arguments[index + 1]
        return None
    if name not in _SHELLS:
        return None
    wants_script = skip = False
    for word in command.arguments:
        text = word.text
        if skip:
            skip = False
        elif text is not None and text[:1] in "-+" and len(text) > 1 and not text.startswith("--"):
            wants_script = wants_script or "c" in text
            skip = text.endswith(("o", "O"))
        elif text is not None and text.startswith("--"):
            skip = text in ("--rcfile", "--init-file")
        else:
            return word if wants_script else None
    return None


def _is_condition(node: Node, index: int) -> bool:
    if node.type in ("if_statement", "while_statement"):
        return node.field_name_for_child(index) == "condition"
    if node.type == "elif_clause":
        then = next((number for number, child in enumerate(node.children) if child.type == "then"), len(node.children))
        return 0 < index < then
    return False


def _leaves(node: Node) -> Iterator[Node]:
    """The words of ``[ … ]`` and ``[[ … ]]``: its expressions are flattened."""
    for child in node.children:
        if child.type.endswith("_expression") and child.type != "brace_expression":
            yield from _leaves(child)
        elif child.type == "subscript" or child.child_count == 0 or child.is_named:
            yield child

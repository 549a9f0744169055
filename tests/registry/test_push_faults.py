"""Pushing through a proxy that does each thing wrong that can be: a while, and for ever."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import faulty_proxy
import push_faults
from registry_judge import Judge
from scripted import scripted_registry

from buildopt.sandbox.certificates import make_certificates

SEED = 3


def choices(tls: bool = False) -> list[push_faults.Choice]:
    """Of a seed's runs: for each kind of fault one where it passes, for each way to end because of it one where not.

    Over TLS only what goes wrong with TLS itself.
    """
    found: dict[object, push_faults.Choice] = {}
    for number in range(len(faulty_proxy.TLS_PAIRS) * 20):
        choice = push_faults.choose(SEED, number, tls)
        index, _, first, times = choice.faults[0]
        kind = faulty_proxy.ALL_KINDS[index]
        if (first, len(choice.faults)) == (0, 1) and (kind in faulty_proxy.TLS_KINDS) is tls:  # so that it is met
            found.setdefault(kind.problems if times == faulty_proxy.ALWAYS else kind, choice)
    return list(found.values())


def test_a_push_ends_whole_or_with_the_right_error_whatever_goes_wrong(tmp_path: Path) -> None:
    with scripted_registry() as registry, scripted_registry() as gullible:
        gullible.gullible = True
        results = push_faults.run_all(registry.host, choices(), tmp_path / "work", 12, gullible=gullible.host)
    broken = [
        f"{push_faults.described(result.choice)}: {text}" for result in results for text in sorted(result.violations)
    ]
    assert broken == []
    assert {fault.kind.name for result in results for fault in result.fired} == {
        kind.name for kind in faulty_proxy.KINDS
    }
    ended = sum((result.ended for result in results), Counter[str]())
    assert ended["pushed"] > len(results) / 3
    assert {"unreachable", "timeout", "rate-limit", "server"} <= set(ended)


def test_whatever_goes_wrong_with_tls_too(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    tls = faulty_proxy.Tls.of(certificates)
    with scripted_registry((certificates.certificate, certificates.key)) as registry:
        results = push_faults.run_all(registry.host, choices(tls=True), tmp_path / "work", 12, tls=tls)
    broken = [
        f"{push_faults.described(result.choice)}: {text}" for result in results for text in sorted(result.violations)
    ]
    assert broken == []
    assert set(faulty_proxy.TLS_KINDS) <= {fault.kind for result in results for fault in result.fired}
    ended = sum((result.ended for result in results), Counter[str]())
    assert ended["pushed"] > len(results) / 3
    assert {"unreachable", "timeout"} <= set(ended)


def test_the_judge_misses_nothing(tmp_path: Path) -> None:
    """What the proxy's runs rely on: the registry's own word, where something is gone or changed behind a tag."""
    with scripted_registry() as registry, push_faults.rig(registry.host) as place, push_faults.impatient(30.0):
        choice = push_faults.Choice(SEED, 0, "one tag", 2000, False, False, False, False, ())
        (tmp_path / "run").mkdir()
        run = push_faults.Run(place, choice, tmp_path / "run")
        assert run.all().violations == []
        judge = Judge(registry.host)
        repository = run.name
        for key in [key for key in registry.blobs if key[0] == repository]:
            kept = registry.blobs.pop(key)
            assert len(judge.broken(repository, "1")) >= 1
            registry.blobs[key] = kept + b" "
            assert len(judge.broken(repository, "1")) >= 1
            registry.blobs[key] = kept
        assert judge.broken(repository, "1") == []
        judge.close()

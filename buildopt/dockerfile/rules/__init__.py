"""All rules. A rule is a module: its docstring is its documentation, ``check`` finds.

To add one: a file, an import and a line of ``RULES`` here, and a folder of fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from buildopt.dockerfile.model import Dockerfile
from buildopt.dockerfile.rules import (
    add_instead_of_copy,
    apt_cache_mount_emptied_by_docker_clean,
    apt_get_without_no_install_recommends,
    apt_instead_of_apt_get,
    apt_lists_left,
    archive_copied_then_extracted,
    cache_mount_defeated,
    cache_mount_for_another_user,
    cache_mount_hides_needed_files,
    cache_mount_missing,
    cache_mount_without_lock,
    cache_mount_wrong_directory,
    cd_instead_of_workdir,
    command_useless_in_container,
    consecutive_runs,
    constant_platform_in_from,
    copy_before_install,
    copy_from_own_stage,
    copy_from_unknown_stage,
    copy_several_to_file,
    copy_to_relative_path_without_workdir,
    deprecated_maintainer,
    duplicate_stage_name,
    empty_continuation_line,
    empty_label,
    env_refers_to_itself,
    expose_invalid_format,
    expose_protocol_casing,
    from_as_casing,
    inconsistent_instruction_casing,
    invalid_default_argument_in_from,
    invalid_label_key,
    invalid_label_value,
    last_user_is_root,
    latest_or_untagged_base,
    legacy_key_value_format,
    missing_apt_yes,
    missing_dnf_yes,
    missing_healthcheck,
    missing_image_source_label,
    missing_label,
    missing_zypper_non_interactive,
    multiple_instructions,
    pip_cache_left_in_image,
    pipe_without_pipefail,
    redundant_target_platform,
    relative_workdir,
    reserved_stage_name,
    secret_in_arg_or_env,
    shell_form_command,
    shell_set_by_symlink,
    shellcheck,
    stage_name_casing,
    sudo_in_run,
    superfluous_label,
    syntax_error,
    undefined_argument_in_from,
    undefined_variable,
    unpinned_apk_package,
    unpinned_apt_package,
    unpinned_dnf_package,
    unpinned_gem,
    unpinned_go_tool,
    unpinned_npm_package,
    unpinned_pip_package,
    unpinned_zypper_package,
    untrusted_registry,
    unused_ignore,
    user_name_instead_of_number,
    useradd_without_no_log_init,
    wget_and_curl,
    wget_without_quiet_progress,
    whole_filesystem_copied,
    zypper_dist_upgrade,
)
from buildopt.finding import Category, Finding, Severity
from buildopt.settings import LintSettings


class Rule(Protocol):
    """What a rule's module has. ``ALIASES`` are the names that other tools have for the same thing.

    A module may also say ``STRICT = True``: only the profile ``strict`` has the rule, and whoever selects it by name.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802
    @property
    def ALIASES(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def SEVERITY(self) -> Severity: ...  # noqa: N802
    @property
    def CATEGORY(self) -> Category: ...  # noqa: N802

    def check(self, dockerfile: Dockerfile, settings: LintSettings) -> Iterator[Finding]: ...


RULES: tuple[Rule, ...] = (
    add_instead_of_copy,
    apt_cache_mount_emptied_by_docker_clean,
    apt_get_without_no_install_recommends,
    apt_instead_of_apt_get,
    apt_lists_left,
    archive_copied_then_extracted,
    cache_mount_defeated,
    cache_mount_for_another_user,
    cache_mount_hides_needed_files,
    cache_mount_missing,
    cache_mount_without_lock,
    cache_mount_wrong_directory,
    cd_instead_of_workdir,
    command_useless_in_container,
    consecutive_runs,
    constant_platform_in_from,
    copy_before_install,
    copy_from_own_stage,
    copy_from_unknown_stage,
    copy_several_to_file,
    copy_to_relative_path_without_workdir,
    deprecated_maintainer,
    duplicate_stage_name,
    empty_continuation_line,
    empty_label,
    env_refers_to_itself,
    expose_invalid_format,
    expose_protocol_casing,
    from_as_casing,
    inconsistent_instruction_casing,
    invalid_default_argument_in_from,
    invalid_label_key,
    invalid_label_value,
    last_user_is_root,
    latest_or_untagged_base,
    legacy_key_value_format,
    missing_apt_yes,
    missing_dnf_yes,
    missing_healthcheck,
    missing_image_source_label,
    missing_label,
    missing_zypper_non_interactive,
    multiple_instructions,
    pip_cache_left_in_image,
    pipe_without_pipefail,
    redundant_target_platform,
    relative_workdir,
    reserved_stage_name,
    secret_in_arg_or_env,
    shell_form_command,
    shell_set_by_symlink,
    shellcheck,
    stage_name_casing,
    sudo_in_run,
    superfluous_label,
    syntax_error,
    undefined_argument_in_from,
    undefined_variable,
    unpinned_apk_package,
    unpinned_apt_package,
    unpinned_dnf_package,
    unpinned_gem,
    unpinned_go_tool,
    unpinned_npm_package,
    unpinned_pip_package,
    unpinned_zypper_package,
    untrusted_registry,
    unused_ignore,
    user_name_instead_of_number,
    useradd_without_no_log_init,
    wget_and_curl,
    wget_without_quiet_progress,
    whole_filesystem_copied,
    zypper_dist_upgrade,
)

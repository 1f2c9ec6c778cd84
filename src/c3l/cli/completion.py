"""What a shell is offered where a setting is typed; loads the list of settings and nothing heavy."""

from collections.abc import Iterator


def complete_setting(incomplete: str) -> Iterator[tuple[str, str]]:
    """The settings that what was typed behind ``--set`` may become, each with what it is."""
    from c3l.settings.describe import list_sections

    for section in list_sections():
        for it in section.settings:
            if it.key.startswith(incomplete) and "[]" not in it.key:
                yield f"{it.key}=", f"{it.description} ({it.values})"

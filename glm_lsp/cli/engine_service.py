"""`glm-lsp engine install-service` and `uninstall-service`: the engine under systemd, as the person's own.

Never decides what is started: the unit runs `glm-lsp engine start` with the options that are given here.
"""

from __future__ import annotations

import click

_WORDS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=_WORDS)
@click.option("--print", "only_print", is_flag=True, help="Print the unit and write nothing.")
@click.option("--now", is_flag=True, help="Start it at once, and at every login.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF ENGINE START]")
def install_service(options: tuple[str, ...], *, only_print: bool, now: bool) -> None:
    """Have systemd start and keep the engine: writes a user unit, with no rights but yours.

    All that follows goes to `glm-lsp engine start`, such as --model /models/glm-4.7-fp8.
    """
    from glm_lsp import settings
    from glm_lsp.cli.engine_start import policy_of, start
    from glm_lsp.engine.local import service

    with start.make_context("start", list(options)):  # what start would not take is said now
        pass
    text = service.unit(options, policy_of(settings.load().engine))
    if only_print:
        click.echo(text, nl=False)
        return
    left = service.install(text, now=now)
    click.echo(f"Written: {service.path()}")
    for command in left:
        click.echo(f"  {command}" + ("    # so that it goes on when you log out" if "linger" in command else ""))


@click.command()
def uninstall_service() -> None:
    """Stop the service and remove its unit."""
    from glm_lsp.engine.local import service

    click.echo("Removed." if service.uninstall() else "There was no service.")

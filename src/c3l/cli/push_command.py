"""The one command that sends something away."""

from typing import Annotated

import typer

from c3l.cli.options import RunFolder, find_run, print_summary


def push(
    run: RunFolder,
    to: Annotated[str, typer.Option(help="The dataset repository, user/name; made if it is not there")],
    private: Annotated[bool, typer.Option("--private", help="Make it private; refuse a public one")] = False,
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Upload the images of the kept pairs too, as files in images/")
    ] = False,
) -> None:
    """Upload a finished export to the Hugging Face Hub.

    The token is that of HF_TOKEN or of `hf auth login`.
    """
    from c3l.run.push import push as upload

    find_run(run)
    print_summary(upload(run, to, private=private, with_images=with_images))

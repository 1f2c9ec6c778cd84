"""``python -m c3l``."""

import sys

from c3l.cli.main import main

sys.exit(main())

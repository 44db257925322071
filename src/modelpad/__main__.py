"""Makes `python -m modelpad` the same as the `modelpad` command."""

from modelpad.cli.main import main

raise SystemExit(main())

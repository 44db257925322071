"""`python -m modelpad` is the same as the `modelpad` command."""

from modelpad.cli.main import main

raise SystemExit(main())

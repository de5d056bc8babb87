"""`python -m reidlib.ablations`: see `reidlib.ablations.plan`."""

from reidlib.ablations.plan import main

main()

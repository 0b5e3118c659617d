"""What every test shares."""

from hypothesis import settings

# Compilation and a busy machine make single examples slow; the number of examples bounds the time.
settings.register_profile("platform", deadline=None)
settings.load_profile("platform")

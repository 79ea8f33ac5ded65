from hypothesis import settings

# The first example of a test pays for imports and compilation: no limit for each.
settings.register_profile("study", deadline=None)
settings.load_profile("study")

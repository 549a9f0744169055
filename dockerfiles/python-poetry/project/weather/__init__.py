"""Tables out of weather stations' files."""

"""The commands, one file each: settings, and the lines that call the library."""

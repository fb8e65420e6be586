"""Real data sets, one a file: its layout check, its splits and its tiny double."""

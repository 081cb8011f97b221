"""Programs for those who change this project; nothing here is installed."""

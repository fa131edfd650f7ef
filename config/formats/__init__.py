"""How the admin writes times: FORMAT_MODULE_PATH names this place, Django adds the locale's own room."""

"""The command line: parse, call, print. One subcommand a file; nothing heavy is imported before it is needed."""

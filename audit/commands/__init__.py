"""The commands that work on finished reports; ``memaudit.audit.cli`` registers them."""

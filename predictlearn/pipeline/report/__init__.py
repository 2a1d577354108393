"""What the report of a run says and shows, part by part."""

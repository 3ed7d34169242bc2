"""What the backbone says about the data: extraction and the store."""

"""The Space: a page that explains predictions, tries other masks and compares methods."""

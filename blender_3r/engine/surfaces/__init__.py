"""One surface from the depth maps of all views: a signed distance field, cut out, cleaned, coloured, simplified."""

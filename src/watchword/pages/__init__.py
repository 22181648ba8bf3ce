"""One look for every page that Watchword writes: palette, base template, SVG primitives and general chart forms."""

"""The laboratory's pictures as SVG text: our own few chart forms, so that a report needs no script and no network."""

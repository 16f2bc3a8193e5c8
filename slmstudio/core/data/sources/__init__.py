"""From bytes to rows: one module for each kind of file. What a row means is `core.data.mapping`'s business."""

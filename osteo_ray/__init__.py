"""osteo_ray."""

"""Everything that needs neither a window nor torch: data, models, runs, hardware, jobs."""

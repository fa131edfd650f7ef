"""`make bench`: ratios measured side by side in one run; absolute figures belong to one machine and one day."""

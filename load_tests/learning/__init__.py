"""Models trained from the demo's electorate, held against what its people are really like."""

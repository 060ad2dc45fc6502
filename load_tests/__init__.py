"""What Groundswell bears: generators, fuzzers and benchmarks, run by hand and in CI."""

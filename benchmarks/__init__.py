"""One file per question; `harness` measures and reports, `peers` are the others, `results` is what
was seen, dated and named by hardware. Run with scripts/bench."""

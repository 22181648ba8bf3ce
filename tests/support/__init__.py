"""What several tests share: samples, tiny models, fakes of this test suite, and processes."""

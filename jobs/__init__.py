"""What happens without a request: flush, certify, deliver, watch."""

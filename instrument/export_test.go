package instrument

// InUse counts what the kernel keeps of open calls.
func (t *Trace) InUse() (map[string]int, error) { return t.session.InUse() }

// WithRing makes the ring buffer that small.
func (c Config) WithRing(bytes int) Config {
	c.ringBytes = bytes
	return c
}

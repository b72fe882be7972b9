package instrument

// InUse counts what the kernel keeps of open calls.
func (t *Trace) InUse() (map[string]int, error) { return t.session.InUse() }

// WithProcesses bounds the processes.
func (c Config) WithProcesses(n int) Config {
	c.processes = n
	return c
}

// WithRing makes the ring buffer that large.
func (c Config) WithRing(bytes int) Config {
	c.ringBytes = bytes
	return c
}

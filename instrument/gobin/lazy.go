package gobin

import "sync"

// lazy is a value that is read when it is first asked for, once. Its zero value
// is ready.
type lazy[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (l *lazy[T]) load(read func() (T, error)) (T, error) {
	l.once.Do(func() { l.value, l.err = read() })
	return l.value, l.err
}

// release forgets the value; whoever asks for it from now on gets the error.
func (l *lazy[T]) release(err error) {
	l.once.Do(func() {})
	var none T
	l.value, l.err = none, err
}

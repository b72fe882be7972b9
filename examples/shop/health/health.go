// Package health asks a program over HTTP whether it is well.
package health

import (
	"errors"
	"net/http"
	"time"
)

// Check is an error where what is at a URL does not answer with 200 OK, in two
// seconds.
func Check(url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// pace is how often and how patiently something is tried.
type pace struct {
	tries   uint
	wait    time.Duration // before the second try; it grows
	maxWait time.Duration // between two tries, and the longest that a server may ask for
}

var defaultPace = pace{tries: 6, wait: 500 * time.Millisecond, maxWait: 5 * time.Minute}

// retry calls do until it succeeds, fails for good, or was tried often enough. Between tries it waits: what the
// server asks for, else longer each time.
func (c *Client) retry(ctx context.Context, what string, do func() error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = c.pace.wait, min(30*time.Second, c.pace.maxWait)
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do()
		switch {
		case err == nil:
			return struct{}{}, nil
		case ctx.Err() != nil || !transient(err):
			return struct{}{}, backoff.Permanent(err)
		}
		var status *StatusError
		if !errors.As(err, &status) || status.Wait == 0 {
			return struct{}{}, err
		}
		if status.Wait > c.pace.maxWait {
			return struct{}{}, backoff.Permanent(fmt.Errorf("the server asks to wait %s: %w", status.Wait, err))
		}
		return struct{}{}, asked{err, &backoff.RetryAfterError{Duration: status.Wait}}
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(c.pace.tries), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, d time.Duration) {
			c.cfg.Log.Warn().Msgf("%s: %v; trying again in %s", what, err, d.Round(10*time.Millisecond))
		}))
	return err
}

// asked is an error after which the server told how long to wait.
type asked struct {
	error
	wait *backoff.RetryAfterError
}

func (a asked) Unwrap() []error { return []error{a.error, a.wait} }

// transient tells whether the same request may succeed a little later.
func transient(err error) bool {
	if errors.Is(err, errExpired) {
		return true
	}
	var status *StatusError
	if errors.As(err, &status) {
		switch status.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	return networkFault(err)
}

// networkFault tells whether an error is of the connection rather than of what was said over it. A name that does not
// exist and a certificate that does not hold are not: waiting mends neither.
func networkFault(err error) bool {
	var (
		dns     *net.DNSError
		timeout net.Error
		op      *net.OpError
	)
	switch {
	case errors.Is(err, ErrOffline), errors.Is(err, ErrHostile), errors.Is(err, ErrMismatch), errors.Is(err, errRedirect), errors.Is(err, context.Canceled), untrusted(err):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	case errors.As(err, &timeout) && timeout.Timeout():
		return true
	}
	return errors.As(err, &op)
}

// nameless tells whether the name of the Hub, or of where it sends us, leads nowhere. That is how it looks without a network
// too, where the name service knows of nothing.
func nameless(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func untrusted(err error) bool {
	var (
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
	)
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &hostname)
}

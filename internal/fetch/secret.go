package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

// place returns what may be shown of a URL that is a secret.
func place(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "(not a URL)"
	}
	return u.Scheme + "://" + u.Host
}

// harmless picks from the error of a request what may be shown when its URL is
// a secret. Many errors of net/http repeat the address, or what a server made of
// it, so only those that never do are let through.
func harmless(err error) error {
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		record      tls.RecordHeaderError
		network     *net.OpError
		stalled     *StallError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &stalled):
		return stalled
	case errors.As(err, &authority):
		return authority
	case errors.As(err, &hostname):
		return errors.New("x509: certificate is for another host")
	case errors.As(err, &certificate):
		return errors.New("x509: certificate is not valid")
	case errors.Is(err, http.ErrSchemeMismatch):
		return http.ErrSchemeMismatch
	case errors.As(err, &record):
		return errors.New("tls: this is not TLS")
	case errors.As(err, &network):
		return network
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("connection closed without an answer")
	}
	return errors.New("no connection")
}

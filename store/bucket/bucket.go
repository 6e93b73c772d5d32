// Package bucket keeps objects in a bucket of any S3-compatible server. An object
// appears whole or not at all, and is never changed afterwards.
//
// All methods may be called at once from many goroutines. Each has a time of its
// own, so that a silent server ends it; the client repeats what failed for a
// passing reason a few times within it.
package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// What callers tell apart with errors.Is.
var (
	ErrAddress     = errors.New("wrong address of a bucket")
	ErrCredentials = errors.New("no credentials for the bucket")
	ErrDenied      = errors.New("bucket denies access")
	ErrAbsent      = errors.New("no such object or bucket")
	ErrUnreachable = errors.New("bucket cannot be reached")
	ErrCut         = errors.New("object is shorter than that")
)

// MaxObject is the largest object in bytes.
const MaxObject = 1 << 30

const (
	patience  = 60 * time.Second // for a call, and one more for each slowBytes
	slowBytes = 4 << 20
	attempts  = 3
)

// IsAddress reports whether s is meant as the address of a bucket.
func IsAddress(s string) bool {
	return strings.HasPrefix(s, "s3://") || strings.HasPrefix(s, "s3+http://")
}

// Bucket is a part of a bucket: the objects whose names begin with a prefix.
type Bucket struct {
	c      *minio.Client
	name   string
	prefix string // empty, or ends with a slash
}

// Open reads an address, s3://HOST[:PORT]/BUCKET[/PREFIX], and the credentials;
// it does not ask the server. s3+http:// goes without encryption and only to this
// machine. The credentials are those of AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY, else of the file AWS_SHARED_CREDENTIALS_FILE (default
// ~/.aws/credentials, profile AWS_PROFILE); AWS_REGION names the region where the
// server does not. Errors: ErrAddress, ErrCredentials.
func Open(address string) (*Bucket, error) {
	u, b, err := parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	creds := credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}})
	if v, err := creds.GetWithContext(&credentials.CredContext{Client: http.DefaultClient}); err != nil || v.AccessKeyID == "" || v.SecretAccessKey == "" {
		return nil, fmt.Errorf("%w: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE", ErrCredentials)
	}
	b.c, err = minio.New(u.Host, &minio.Options{
		Creds: creds, Secure: u.Scheme == "s3", Region: os.Getenv("AWS_REGION"), MaxRetries: attempts,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	return b, nil
}

func parse(address string) (*url.URL, *Bucket, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, errors.New("it is no URL") // the error would repeat what may be secret
	}
	name, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	switch {
	case u.User != nil:
		return nil, nil, errors.New("credentials do not belong there")
	case u.Scheme != "s3" && u.Scheme != "s3+http", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return nil, nil, errors.New("want s3://HOST/BUCKET/PREFIX")
	case len(name) < 3 || len(name) > 63:
		return nil, nil, fmt.Errorf("bucket's name of %d bytes, want 3 to 63", len(name))
	case len(prefix) > 512 || strings.Contains(prefix, "//") || strings.Contains("/"+prefix+"/", "/../"):
		return nil, nil, errors.New("want a plain prefix of at most 512 bytes")
	case u.Scheme == "s3+http" && !loopback(u.Hostname()):
		return nil, nil, fmt.Errorf("s3+http to %s would send everything unencrypted", u.Hostname())
	}
	if prefix != "" {
		prefix += "/"
	}
	return u, &Bucket{name: name, prefix: prefix}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// limited is the time that a call for n bytes may take.
func limited(n int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience+patience*time.Duration(n/slowBytes))
}

// Put stores an object whole, or replaces it. Errors: ErrDenied, ErrAbsent when
// there is no bucket, ErrUnreachable.
func (b *Bucket) Put(name string, body []byte) error {
	if len(body) > MaxObject {
		return fmt.Errorf("put %s: %d bytes above limit %d", name, len(body), MaxObject)
	}
	ctx, cancel := limited(int64(len(body)))
	defer cancel()
	info, err := b.c.PutObject(ctx, b.name, b.prefix+name, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableMultipart: true, SendContentMd5: true,
	})
	if err != nil {
		return b.mapped("put", name, err)
	}
	if info.Size != int64(len(body)) {
		return fmt.Errorf("put %s: the bucket took %d of %d bytes", name, info.Size, len(body))
	}
	return nil
}

// ReadAt fills p with the bytes of an object from off on. Errors: ErrAbsent, ErrCut
// with what there is in p, ErrDenied, ErrUnreachable.
func (b *Bucket) ReadAt(name string, p []byte, off int64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	ctx, cancel := limited(int64(len(p)))
	defer cancel()
	var opt minio.GetObjectOptions
	if err := opt.SetRange(off, off+int64(len(p))-1); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	o, err := b.c.GetObject(ctx, b.name, b.prefix+name, opt)
	if err != nil {
		return 0, b.mapped("read", name, err)
	}
	n, err = io.ReadFull(o, p)
	_ = o.Close() // it was read as far as it goes
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, fmt.Errorf("read %s: %w: %d of %d bytes at %d", name, ErrCut, n, len(p), off)
	}
	if err != nil {
		return n, b.mapped("read", name, err)
	}
	return n, nil
}

// Get gives a whole object of at most limit bytes. Errors: ErrAbsent, ErrDenied,
// ErrUnreachable.
func (b *Bucket) Get(name string, limit int) ([]byte, error) {
	ctx, cancel := limited(int64(limit))
	defer cancel()
	o, err := b.c.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.mapped("get", name, err)
	}
	body, err := io.ReadAll(io.LimitReader(o, int64(limit)+1))
	_ = o.Close() // it was read as far as it goes
	if err != nil {
		return nil, b.mapped("get", name, err)
	}
	if len(body) > limit {
		return nil, fmt.Errorf("get %s: more than %d bytes", name, limit)
	}
	return body, nil
}

// List calls fn with the names below dir, a name that ends with a slash or is
// empty, without it, and their sizes in bytes. Errors: ErrDenied, ErrAbsent when
// there is no bucket, ErrUnreachable, that of fn.
func (b *Bucket) List(dir string, fn func(name string, size int64) error) error {
	ctx, cancel := limited(slowBytes * 30) // a thousand names a call
	defer cancel()
	for o := range b.c.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + dir, Recursive: true}) {
		if o.Err != nil {
			return b.mapped("list", dir, o.Err)
		}
		if err := fn(strings.TrimPrefix(o.Key, b.prefix+dir), o.Size); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes an object; an absent one is no error. Errors: ErrDenied,
// ErrUnreachable.
func (b *Bucket) Remove(name string) error {
	ctx, cancel := limited(0)
	defer cancel()
	err := b.c.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{})
	if err = b.mapped("remove", name, err); errors.Is(err, ErrAbsent) {
		return nil
	}
	return err
}

// mapped turns the answer of a server into one of our errors.
func (b *Bucket) mapped(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	kind := ErrUnreachable
	var r minio.ErrorResponse
	if errors.As(err, &r) && r.StatusCode != 0 {
		switch s := r.StatusCode; {
		case s == http.StatusNotFound:
			kind = ErrAbsent
		case s == http.StatusRequestedRangeNotSatisfiable:
			kind = ErrCut
		case s == http.StatusUnauthorized, s == http.StatusForbidden:
			kind = ErrDenied
		case s < 500 && s != http.StatusTooManyRequests && s != http.StatusRequestTimeout:
			return fmt.Errorf("%s %s in bucket %s: %w", doing, name, b.name, err)
		}
	}
	return fmt.Errorf("%s %s in bucket %s: %w: %w", doing, name, b.name, kind, err)
}

// Package clouds opens the buckets of object stores by their URLs: s3://, gs:// and azblob://.
package clouds

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"cloud.google.com/go/storage"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://

	"github.com/hexdag/hexdag/host/kernel"
)

// Schemes are those of the URLs that Open takes.
var schemes = []string{"azblob", "gs", "s3"}

// Open opens a bucket. Credentials come from where the provider's own tools look for them:
// the environment, its configuration files, the machine's role. The parameters of the
// URL are those of gocloud.dev: s3://bucket?region=eu-central-1, with endpoint and
// use_path_style for others that speak the protocol. Whether the bucket is there shows
// at the first use. The caller closes it.
func Open(ctx context.Context, bucketURL string) (*blob.Bucket, error) {
	refuse := func(why string) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the bucket " + kernel.Quote(WithoutParameters(bucketURL)) + " cannot be opened", Why: kernel.Quote(why),
			Fix: "give a URL such as s3://bucket?region=eu-central-1, gs://bucket or azblob://container, and credentials where the provider's tools look for them"}
	}
	u, err := url.Parse(bucketURL)
	if err != nil || u.Host == "" {
		return nil, refuse("it is no URL of a bucket")
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, refuse("known schemes are " + strings.Join(schemes, ", "))
	}
	if u.User != nil {
		return nil, refuse("a URL holds no credentials")
	}
	bucket, err := blob.OpenBucket(ctx, bucketURL)
	if err != nil {
		return nil, refuse(strings.ReplaceAll(err.Error(), bucketURL, WithoutParameters(bucketURL)))
	}
	return bucket, nil
}

// WithoutParameters returns a URL, or several with commas between them, without users and parameters, to
// be shown: of one that is not well made, no more than its scheme. What has no "://" is returned as it is.
func WithoutParameters(address string) string {
	if !strings.Contains(address, "://") {
		return address
	}
	parts := strings.Split(address, ",")
	for i, part := range parts {
		scheme, rest, ok := strings.Cut(part, "://")
		if ok {
			scheme += "://"
		} else {
			scheme, rest = "", part
		}
		u, err := url.Parse("any://" + rest)
		if err != nil {
			parts[i] = scheme + "..."
			continue
		}
		shown := u.Host + u.EscapedPath()
		parts[i] = scheme + shown[strings.LastIndex(shown, "@")+1:] // a password may hold a '/'
	}
	return strings.Join(parts, ",")
}

// StartAfter makes a list of S3 or Google's begin behind a key; Azure has nothing for it.
func StartAfter(as func(any) bool, key string) error {
	var onS3 *s3.ListObjectsV2Input
	if as(&onS3) {
		onS3.StartAfter = &key
		return nil
	}
	var onGCS *storage.Query
	if as(&onGCS) {
		onGCS.StartOffset = key // the key itself is listed, too, and passed over
	}
	return nil
}

package diff

import (
	"bytes"
	"fmt"
	"image"
	_ "image/gif" // the formats that kindOf knows
	_ "image/jpeg"
	_ "image/png"

	"github.com/hexdag/hexdag/host/kernel"
)

// Pixels is how two images differ.
type Pixels struct {
	Old     image.Point     `json:"old"` // width and height
	New     image.Point     `json:"new"`
	Differ  int             `json:"differ"`  // pixels, where both have some
	Within  image.Rectangle `json:"within"`  // the smallest rectangle that holds them
	Largest int             `json:"largest"` // difference of a channel, 0 to 255
}

func compareImages(r *Report, before, after Content) error {
	b, err := decodeImage(before)
	if err != nil {
		return err
	}
	a, err := decodeImage(after)
	if err != nil {
		return err
	}
	p := &Pixels{Old: b.Bounds().Size(), New: a.Bounds().Size()}
	shared := image.Rectangle{Max: p.Old}.Intersect(image.Rectangle{Max: p.New})
	for y := range shared.Dy() {
		for x := range shared.Dx() {
			if d := distance(b, a, x, y); d > 0 {
				p.Differ++
				p.Largest = max(p.Largest, d)
				p.Within = p.Within.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	r.Pixels = p
	return nil
}

func decodeImage(c Content) (image.Image, error) {
	config, _, err := image.DecodeConfig(bytes.NewReader(c.Data))
	if err != nil {
		return nil, fmt.Errorf("%s is no image: %w", kernel.Quote(c.Name), err)
	}
	if pixels := int64(config.Width) * int64(config.Height); pixels > MaxPixels { // before anything is allocated for them
		return nil, fmt.Errorf("%s has %d pixels, images are compared up to %d", kernel.Quote(c.Name), pixels, MaxPixels)
	}
	img, _, err := image.Decode(bytes.NewReader(c.Data))
	if err != nil {
		return nil, fmt.Errorf("%s is no whole image: %w", kernel.Quote(c.Name), err)
	}
	return img, nil
}

// distance is the largest difference of a channel of two pixels, of 8 bits.
func distance(a, b image.Image, x, y int) int {
	r1, g1, b1, a1 := a.At(a.Bounds().Min.X+x, a.Bounds().Min.Y+y).RGBA()
	r2, g2, b2, a2 := b.At(b.Bounds().Min.X+x, b.Bounds().Min.Y+y).RGBA()
	largest := 0
	for _, pair := range [][2]uint32{{r1, r2}, {g1, g2}, {b1, b2}, {a1, a2}} {
		d := int(pair[0]>>8) - int(pair[1]>>8)
		largest = max(largest, d, -d)
	}
	return largest
}

package mcpserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"  // to look at
	_ "image/jpeg" // to look at
	"image/png"
	"net/http"
	"sync"
)

const (
	// maxImages bounds the images of one result.
	maxImages = 20
	// maxSide is the most pixels that an image has on a side. A larger one is
	// scaled: of conversations with many images, clients refuse larger ones.
	maxSide = 2000
	// maxPixels bounds what is decoded to be scaled.
	maxPixels = 32 << 20
	// maxImage bounds an image in bytes: clients take 5 MB in base64.
	maxImage = 3_750_000
	// maxAllImages bounds the images of one result together, in bytes.
	maxAllImages = 15_000_000
)

// fitted returns the images that clients take, and a line about each that was
// changed or left out.
func fitted(images []Image) (kept []Image, notes []string) {
	total := 0
	for i, picture := range images {
		if len(kept) == maxImages {
			notes = append(notes, fmt.Sprintf("[%d more images left out: a result has at most %d]", len(images)-i, maxImages))
			break
		}
		fit, note, err := fitImage(picture)
		if err == nil && total+len(fit.Data) > maxAllImages {
			err = fmt.Errorf("the images of a result have at most %d bytes", maxAllImages)
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("[image %d left out: %v]", i+1, err))
			continue
		}
		if note != "" {
			notes = append(notes, fmt.Sprintf("[image %d %s]", i+1, note))
		}
		total += len(fit.Data)
		kept = append(kept, fit)
	}
	return kept, notes
}

// scaling lets one image be decoded at a time: each may take much memory.
var scaling sync.Mutex

func fitImage(given Image) (Image, string, error) {
	if len(given.Data) == 0 {
		return given, "", errors.New("it is empty")
	}
	kind := http.DetectContentType(given.Data)
	var width, height int
	switch kind {
	case "image/png", "image/jpeg", "image/gif":
		config, _, err := image.DecodeConfig(bytes.NewReader(given.Data))
		if err != nil {
			return given, "", fmt.Errorf("it is damaged: %w", err)
		}
		width, height = config.Width, config.Height
	case "image/webp":
		width, height = webpSize(given.Data)
	default:
		return given, "", fmt.Errorf("it is no PNG, JPEG, GIF or WebP but %s", kind)
	}
	switch {
	case width <= 0 || height <= 0:
		return given, "", errors.New("it has no pixels")
	case width <= maxSide && height <= maxSide && len(given.Data) <= maxImage:
		return Image{MIME: kind, Data: given.Data}, "", nil
	case width > maxPixels || height > maxPixels || width*height > maxPixels || kind == "image/webp":
		return given, "", fmt.Errorf("it has %d x %d pixels and %d bytes", width, height, len(given.Data))
	}
	scaled, to, err := scale(given.Data, width, height)
	if err != nil {
		return given, "", err
	}
	note := fmt.Sprintf("scaled from %d x %d to %d x %d pixels", width, height, to.X, to.Y)
	return Image{MIME: "image/png", Data: scaled}, note, nil
}

// scale makes an image smaller until it is small enough in every way.
func scale(data []byte, width, height int) ([]byte, image.Point, error) {
	scaling.Lock()
	defer scaling.Unlock()
	source, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, image.Point{}, fmt.Errorf("it is damaged: %w", err)
	}
	for side := min(maxSide, max(width, height)); side >= 100; side /= 2 {
		to := image.Pt(max(1, width*side/max(width, height)), max(1, height*side/max(width, height)))
		var out bytes.Buffer
		if err := png.Encode(&out, shrink(source, to)); err != nil {
			return nil, to, err
		}
		if out.Len() <= maxImage {
			return out.Bytes(), to, nil
		}
	}
	return nil, image.Point{}, fmt.Errorf("it has %d bytes", len(data))
}

// shrink gives each pixel the mean of those that it stands for.
func shrink(source image.Image, to image.Point) image.Image {
	from := source.Bounds()
	small := image.NewNRGBA(image.Rectangle{Max: to})
	for y := range to.Y {
		top, bottom := from.Min.Y+y*from.Dy()/to.Y, from.Min.Y+(y+1)*from.Dy()/to.Y
		for x := range to.X {
			left, right := from.Min.X+x*from.Dx()/to.X, from.Min.X+(x+1)*from.Dx()/to.X
			var r, g, b, a, count uint64
			for sy := top; sy < max(bottom, top+1); sy++ {
				for sx := left; sx < max(right, left+1); sx++ {
					pr, pg, pb, pa := source.At(sx, sy).RGBA()
					r, g, b, a, count = r+uint64(pr), g+uint64(pg), b+uint64(pb), a+uint64(pa), count+1
				}
			}
			small.Set(x, y, color.RGBA64{R: mean(r, count), G: mean(g, count), B: mean(b, count), A: mean(a, count)})
		}
	}
	return small
}

func mean(sum, count uint64) uint16 { return uint16(sum / count) } //nolint:gosec // the mean of 16 bits has no more

// webpSize reads the size from a WebP's first chunk; 0 if it is not there.
func webpSize(data []byte) (width, height int) {
	if len(data) < 30 {
		return 0, 0
	}
	switch string(data[12:16]) {
	case "VP8X":
		return 1 + int(uint24(data[24:])), 1 + int(uint24(data[27:]))
	case "VP8L":
		bits := binary.LittleEndian.Uint32(data[21:])
		return 1 + int(bits&0x3fff), 1 + int(bits>>14&0x3fff)
	case "VP8 ":
		return int(binary.LittleEndian.Uint16(data[26:]) & 0x3fff), int(binary.LittleEndian.Uint16(data[28:]) & 0x3fff)
	}
	return 0, 0
}

func uint24(data []byte) uint32 {
	return uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16
}

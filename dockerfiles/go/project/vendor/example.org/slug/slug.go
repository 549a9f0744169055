// Package slug makes short names out of numbers and back.
package slug

import "errors"

const alphabet = "23456789abcdefghjkmnpqrstuvwxyz"

// ErrInvalid is what Decode returns for a name that Encode does not make.
var ErrInvalid = errors.New("slug: invalid name")

// Encode returns the name of a number.
func Encode(number uint64) string {
	var digits []byte
	for {
		digits = append([]byte{alphabet[number%uint64(len(alphabet))]}, digits...)
		number /= uint64(len(alphabet))
		if number == 0 {
			return string(digits)
		}
	}
}

// Decode returns the number of a name.
func Decode(name string) (uint64, error) {
	var number uint64
	if name == "" {
		return 0, ErrInvalid
	}
	for _, letter := range []byte(name) {
		digit := -1
		for i := range alphabet {
			if alphabet[i] == letter {
				digit = i
			}
		}
		if digit < 0 {
			return 0, ErrInvalid
		}
		number = number*uint64(len(alphabet)) + uint64(digit)
	}
	return number, nil
}

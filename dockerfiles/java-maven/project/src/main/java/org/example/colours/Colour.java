package org.example.colours;

import org.apache.commons.lang3.StringUtils;

/** A colour of the sRGB space, each part from 0 to 255. */
public record Colour(int red, int green, int blue) {
    public Colour {
        if (((red | green | blue) & ~0xff) != 0) {
            throw new IllegalArgumentException("not within 0 to 255: " + red + ", " + green + ", " + blue);
        }
    }

    /** A colour written as {@code #rgb} or {@code #rrggbb}. */
    public static Colour parse(String text) {
        String digits = StringUtils.removeStart(text.strip(), "#");
        if (digits.length() == 3) {
            digits = digits.replaceAll("(.)", "$1$1");
        }
        if (digits.length() != 6) {
            throw new IllegalArgumentException("not a colour: " + text);
        }
        int value = Integer.parseInt(digits, 16);
        return new Colour(value >> 16, value >> 8 & 0xff, value & 0xff);
    }

    /** Its relative luminance as WCAG defines it, from 0 to 1. */
    public double luminance() {
        return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    }

    /** How well a text in one colour can be read on the other, from 1 to 21. */
    public double contrast(Colour other) {
        double a = luminance(), b = other.luminance();
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }

    private static double linear(int part) {
        double value = part / 255.0;
        return value <= 0.04045 ? value / 12.92 : Math.pow((value + 0.055) / 1.055, 2.4);
    }

    @Override
    public String toString() {
        return String.format("#%02x%02x%02x", red, green, blue);
    }
}

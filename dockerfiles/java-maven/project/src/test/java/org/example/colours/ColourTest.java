package org.example.colours;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;

import org.junit.Test;

public class ColourTest {
    @Test
    public void blackOnWhiteIsTheMost() {
        assertEquals(21.0, Colour.parse("#000").contrast(Colour.parse("#ffffff")), 1e-9);
    }

    @Test
    public void aColourHasSixDigits() {
        assertThrows(IllegalArgumentException.class, () -> Colour.parse("#12345"));
    }
}

